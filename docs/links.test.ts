import { execFileSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '..')

/** Every page of the repository but GitHub's templates, by its path from the root. */
const pages = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((page) => page !== '' && !page.startsWith('.github/') && existsSync(join(root, page)))

const read = (page: string) => readFileSync(join(root, page), 'utf8')
const withoutCode = (text: string) => text.replaceAll(/^```[\s\S]*?^```/gm, '')

type Link = { page: string; link: string; target: string; anchor: string | undefined }

/** The links and pictures of a page that stay within the repository. */
function links(page: string): Link[] {
  return [...withoutCode(read(page)).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link]) => link!)
    .filter((link) => !/^(https?|mailto):/.test(link))
    .map((link) => {
      const [path = '', anchor] = link.split('#')
      return { page, link, target: path === '' ? page : normalize(join(dirname(page), path)), anchor }
    })
}

/** The anchors that GitHub gives to the headings of a page. */
function anchors(page: string): string[] {
  return [...withoutCode(read(page)).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  )
}

test('every page is reached from the README', () => {
  const reached = new Set(['README.md'])
  for (const page of reached) {
    for (const { target } of links(page)) if (pages.includes(target)) reached.add(target)
  }
  expect(pages.length).toBeGreaterThan(20)
  expect(pages.filter((page) => !reached.has(page))).toEqual([])
})

test('every link leads to a file, and to a heading in it', () => {
  const all = pages.flatMap(links)
  expect(all.length).toBeGreaterThan(50)
  const broken = all.filter(
    ({ target, anchor }) =>
      !existsSync(join(root, target)) || (anchor !== undefined && !anchors(target).includes(anchor)),
  )
  expect(broken.map(({ page, link }) => `${page}: ${link}`)).toEqual([])
})

/**
 * The paths in a page's prose, such as `lib/errors.ts` or `services/<name>/`, that begin with a
 * folder of the repository or next to the page. A walk-through may also name what it creates: a
 * path on its own line, above its content. What a running shop writes, in .sidecart, does not
 * count.
 */
function namedPaths(page: string): { path: string; found: boolean }[] {
  const created = [...read(page).matchAll(/^`([^`\s]+)`\n\n```/gm)].map(([, path]) => path!)
  const bases = [root, join(root, dirname(page))]
  return [...withoutCode(read(page)).matchAll(/`([\w.@-]+\/[\w./@<>*-]*)`/g)]
    .map(([, path]) => path!)
    .filter((path) => !path.startsWith('.sidecart/'))
    .filter((path) => bases.some((base) => existsSync(join(base, path.split('/')[0]!))))
    .map((path) => {
      const pattern = path.replaceAll(/<[^>]*>/g, '*')
      const exists = bases.some((base) => globSync(pattern, { cwd: base }).length > 0)
      return { path, found: exists || created.some((file) => file.startsWith(path)) }
    })
}

test('every path that a page names exists', () => {
  const named = pages.flatMap((page) => namedPaths(page).map((path) => ({ page, ...path })))
  expect(named.length).toBeGreaterThan(50)
  expect(named.filter(({ found }) => !found).map(({ page, path }) => `${page}: ${path}`)).toEqual([])
})
