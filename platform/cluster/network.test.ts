import { expect, it } from 'vitest'
import { createNetwork, dnsAddress, freeNetworks, overlap, serviceSubnet } from './network.ts'

it('the first network is free on a machine with other subnets only', () => {
  const [first] = freeNetworks(['default', '0.0.0.0/0', '192.0.2.0/24', '127.0.0.0/8', '10.79.255.0/24'])
  expect(first).toEqual(createNetwork(0))
})

it('networks that a route touches in any way are left out', () => {
  const indexes = (routes: string[]) => freeNetworks(routes).map(({ index }) => index)
  expect(indexes(['10.80.0.254', '10.81.2.0/24'])).toEqual(expect.not.arrayContaining([0, 2]))
  expect(indexes(['10.80.0.254', '10.81.2.0/24'])).toContain(1)
  expect(indexes(['10.80.0.0/12'])).toEqual([])
})

it('subnets overlap when one contains the other', () => {
  expect(overlap('10.0.0.0/8', '10.80.0.0/24')).toBe(true)
  expect(overlap('10.80.0.7', '10.80.0.0/24')).toBe(true)
  expect(overlap('10.80.1.0/24', '10.80.0.0/24')).toBe(false)
  expect(overlap('0.0.0.0/0', '10.80.0.0/24')).toBe(true)
  expect(overlap('200.0.0.0/8', '201.0.0.0/8')).toBe(false)
})

it('the DNS server has an address of the Services, which no network overlaps', () => {
  expect(overlap(dnsAddress, serviceSubnet)).toBe(true)
  expect(freeNetworks([serviceSubnet])).toHaveLength(freeNetworks([]).length)
})
