import { expect, test } from 'vitest'
import { importedFolders } from './imports.ts'
import { root } from './paths.ts'

test('a service is made of its folder, of lib, and of the generated code that it uses', () => {
  const folders = importedFolders('services/users/main.ts', root)
  expect(folders).toEqual(expect.arrayContaining(['lib', 'services/users', 'protos/gen/shop/users/v1']))
  expect(folders).not.toContain('protos/gen/shop/orders/v1')
  expect(folders.filter((folder) => folder.startsWith('services/'))).toEqual(['services/users'])
})

test('a component is made of several modules of pluggable', () => {
  const folders = importedFolders('pluggable/outbox-mysql/main.ts', root)
  expect(folders).toEqual(expect.arrayContaining(['pluggable/host', 'pluggable/outbox', 'pluggable/outbox-mysql']))
  expect(folders).not.toContain('pluggable/outbox-mongodb')
})
