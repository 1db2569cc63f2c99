// The entry of every npm script. Plain JavaScript for Node 20 without dependencies, because on a
// fresh clone there is nothing else yet: it installs the packages when they are missing or out of
// date, then hands over to Node 24 (itself one of the packages), which runs the project's
// TypeScript as it is.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const stamp = join(root, 'node_modules', '.sidecart-installed')
const node = join(root, 'node_modules', '.bin', 'node')

/** What is installed has to be what package-lock.json says, for this machine's architecture. */
function wanted() {
  const lock = readFileSync(join(root, 'package-lock.json'))
  return createHash('sha256').update(lock).update(`${process.platform}-${process.arch}`).digest('hex')
}

function installed() {
  return existsSync(node) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted()
}

/**
 * Takes the lock of the installation; waits while another `npm start` or `npm test` of this clone
 * holds it.
 */
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
    if (!said) console.error('Another command installs the packages of this clone: waiting for it …')
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
    // An empty file is one that is being written this moment, unless it stays so.
    if (!holder) return Date.now() - statSync(lock).mtimeMs > 5_000
    process.kill(holder, 0)
    return false
  } catch (error) {
    return error.code === 'ESRCH'
  }
}

function install() {
  const started = Date.now()
  console.error('Installing the packages: npm ci (usually 10 to 60 s) …')
  const log = join(root, '.sidecart', 'npm-ci.log')
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error']
  // npm sets npm_config_* and INIT_CWD for its scripts; the inner npm finds the clone by its
  // working directory.
  const npm = spawnSync('npm', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  writeFileSync(log, `${npm.stdout ?? ''}${npm.stderr ?? ''}${npm.error ? String(npm.error) : ''}`)
  if (npm.status !== 0) {
    console.error(npm.stderr)
    console.error(`npm ci failed; its output is in ${log}`)
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

// Node 24 first on PATH, so that whatever is started from here on is run by it; and its compiled
// code kept, which is most of what a warm start would otherwise spend.
const child = spawn(node, [join(root, 'cli', 'main.ts'), ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: {
    ...process.env,
    PATH: `${join(root, 'node_modules', '.bin')}:${process.env.PATH}`,
    NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(root, '.sidecart', 'compile-cache'),
  },
})
// Ctrl-C reaches the child by the terminal; this process has to outlive it to report its exit code.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (signal !== 'SIGINT') child.kill(signal)
  })
}
child.on('exit', (code, signal) => {
  process.exit(code ?? (signal === 'SIGINT' ? 130 : 143))
})
