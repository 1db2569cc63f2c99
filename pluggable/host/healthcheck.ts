// A container's health check: `node pluggable/host/healthcheck.ts outbox-mysql` exits with 0 if
// that component listens.
import { connect } from 'node:net'
import { join } from 'node:path'
import { readEnvironment } from './environment.ts'

const socket = join(readEnvironment(process.env).socketsFolder, `${process.argv[2] ?? ''}.sock`)
// An unhandled error ends the process with 1.
const connection = connect(socket, () => connection.destroy())
connection.setTimeout(2_000, () => connection.destroy(new Error('no response within 2 s')))
