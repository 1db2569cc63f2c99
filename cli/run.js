// The entry point of every npm script. Plain JavaScript for Node 20 without dependencies, since a
// fresh clone has nothing else: it installs the packages if they are missing or out of date, then
// hands over to Node 24 (one of the packages), which runs the project's TypeScript as is.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const stamp = join(root, 'node_modules', '.sidecart-installed')
const node = join(root, 'node_modules', '.bin', 'node')

/** Identifies what must be installed: package-lock.json, and the machine's architecture. */
function wanted() {
  const lock = readFileSync(join(root, 'package-lock.json'))
  return createHash('sha256').update(lock).update(`${process.platform}-${process.arch}`).digest('hex')
}

function installed() {
  return existsSync(node) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted()
}

/** Runs `work` under the lock; waits while another command of this clone holds it. */
function withLock(lock, work) {
  mkdirSync(dirname(lock), { recursive: true })
  for (let said = false; ;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' })
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    if (lockIsStale(lock)) {
      rmSync(lock, { force: true })
      continue
    }
    if (!said) console.error('Another command is installing the packages of this clone: waiting …')
    said = true
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
  }
  try {
    return work()
  } finally {
    rmSync(lock, { force: true })
  }
}

function lockIsStale(lock) {
  try {
    const holder = Number(readFileSync(lock, 'utf8'))
    // An empty file is just being written, unless it stays empty.
    if (!holder) return Date.now() - statSync(lock).mtimeMs > 5_000
    process.kill(holder, 0)
    return false
  } catch (error) {
    return error.code === 'ESRCH'
  }
}

function install() {
  const started = Date.now()
  console.error('Installing packages: npm ci (usually 10 to 60 s) …')
  const log = join(root, '.sidecart', 'npm-ci.log')
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error']
  // The inner npm inherits npm_config_* and INIT_CWD; it finds the clone by its working directory.
  const npm = spawnSync('npm', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  writeFileSync(log, `${npm.stdout ?? ''}${npm.stderr ?? ''}${npm.error ? String(npm.error) : ''}`)
  if (npm.status !== 0) {
    console.error(npm.stderr)
    console.error(`npm ci failed. Its output: ${log}`)
    process.exit(1)
  }
  writeFileSync(stamp, wanted())
  console.error(`Packages installed in ${Math.round((Date.now() - started) / 1000)} s.`)
}

if (!installed()) {
  withLock(join(root, '.sidecart', 'npm-ci.lock'), () => {
    if (!installed()) install()
  })
}

// Node 24 comes first on PATH, so every child runs on it. Its compiled code is cached: compiling
// takes most of the time of a warm start.
const child = spawn(node, [join(root, 'cli', 'main.ts'), ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: {
    ...process.env,
    PATH: `${join(root, 'node_modules', '.bin')}:${process.env.PATH}`,
    NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(root, '.sidecart', 'compile-cache'),
  },
})
// The terminal sends Ctrl-C to the child too; this process outlives it to report its exit code.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (signal !== 'SIGINT') child.kill(signal)
  })
}
child.on('exit', (code, signal) => {
  process.exit(code ?? (signal === 'SIGINT' ? 130 : 143))
})
