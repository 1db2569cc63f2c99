// Answers with a greeting that it gets from its sidecar's secret store.
import { createServer } from 'node:http'

const secret = `http://127.0.0.1:${process.env.DAPR_HTTP_PORT}/v1.0/secrets/settings/greeting`

createServer(async (request, response) => {
  const { greeting } = await (await fetch(secret)).json()
  response.end(`${greeting}, ${request.headers['dapr-caller-app-id'] ?? 'stranger'}`)
}).listen(Number(process.env.APP_PORT), '127.0.0.1')
