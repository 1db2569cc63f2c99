// A container's health check: `node pluggable/host/healthcheck.ts outbox-mysql` ends with 0 when
// that component listens here.
import { connect } from 'node:net'
import { join } from 'node:path'
import { readEnvironment } from './environment.ts'

const socket = join(readEnvironment(process.env).socketsFolder, `${process.argv[2] ?? ''}.sock`)
// An error that nobody handles ends the process with 1.
const connection = connect(socket, () => connection.destroy())
connection.setTimeout(2_000, () => connection.destroy(new Error('no answer within 2 s')))
