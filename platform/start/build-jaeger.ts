// Run by the supervisor while the shop is up: builds Jaeger, then has the supervisor start it.
// Argument: the shop's instance.
import { setPriority } from 'node:os'
import { buildOnce } from '../parts/ensure.ts'
import { parts } from '../parts/parts.ts'
import { createPaths } from '../processes/paths.ts'
import { createProgress } from '../progress.ts'
import { startProcess } from '../supervise/supervisor.ts'

// The shop is already answering shoppers: they come before the compiler.
setPriority(10)
// An exit ends the compiler too (run-logged.ts); the signal alone would not.
process.once('SIGTERM', () => process.exit(143))

const [instance = ''] = process.argv.slice(2)
await buildOnce(parts.jaeger, createProgress(process.stdout))
await startProcess(createPaths(instance), 'jaeger')
