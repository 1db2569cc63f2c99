// Generates code from the protos, as `npm run generate` does, but leaves files alone whose content
// stays the same: what watches them does not restart.
import { spawnSync } from 'node:child_process'
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { root } from '../processes/paths.ts'

const fresh = join(root, '.sidecart', 'generated')
// buf finds its plugin by PATH.
const bin = join(root, 'node_modules', '.bin')
const env = { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH']}` }
// It says itself what is wrong with a proto.
const { status } = spawnSync(join(bin, 'buf'), ['generate', '--output', fresh], { cwd: root, env, stdio: 'inherit' })
if (status !== 0) process.exit(1)

const from = join(fresh, 'protos', 'gen')
const to = join(root, 'protos', 'gen')
const files = globSync('**/*.ts', { cwd: from })
for (const file of files) {
  const content = readFileSync(join(from, file))
  const target = join(to, file)
  if (existsSync(target) && readFileSync(target).equals(content)) continue
  mkdirSync(dirname(target), { recursive: true })
  writeFileSync(target, content)
  console.log(`protos/gen/${file}`)
}
for (const file of globSync('**/*.ts', { cwd: to }).filter((each) => !files.includes(each))) {
  rmSync(join(to, file))
  console.log(`protos/gen/${file} is gone`)
}
