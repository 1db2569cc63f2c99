import { describe, expect, test } from 'vitest'
import { parts } from './parts.ts'
import { fits, parseVersion } from './version.ts'

describe('parseVersion', () => {
  test.each([
    ['1.18.0', [1, 18, 0]],
    ['secantusd-rs 0.5.3-beta.193\nsource: crates.io', [0, 5, 3]],
    ['mysqld  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server - GPL)', [8, 4, 3]],
    ['mariadbd  Ver 11.4.5-MariaDB for Linux on x86_64', [11, 4, 5]],
    ['db version v7.0.14\nBuild Info: {', [7, 0, 14]],
    ['no number', undefined],
  ])('%s', (text, version) => {
    expect(parseVersion(text)).toEqual(version)
  })
})

test('a range holds its start and not its end, part by part as numbers', () => {
  expect(fits([1, 18], [1, 18, 0], [2])).toBe(true)
  expect(fits([1, 9, 9], [1, 18], [2])).toBe(false)
  expect(fits([2, 0], [1, 18], [2])).toBe(false)
})

describe('a database on PATH', () => {
  test.each([
    ['mysqld  Ver 8.4.3 for Linux', true],
    ['mysqld  Ver 5.7.44 for Linux', false],
    ['mariadbd  Ver 10.11.6-MariaDB', true],
    ['mariadbd  Ver 10.3.39-MariaDB', false],
  ])('%s: %s', (text, expected) => {
    expect(parts.mysql.accepts(text)).toBe(expected)
  })
})
