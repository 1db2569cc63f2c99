import { describe, expect, it } from 'vitest'
import { describeWaiting, guiltyContainer, isComplete, isReady, readyContainers, waitsFor, type Pod } from './pods.ts'

type Status = NonNullable<Pod['status']['containerStatuses']>[number]

const container = (name: string, state: Status['state'], rest: Partial<Status> = {}): Status => ({
  name,
  ready: false,
  restartCount: 0,
  state,
  ...rest,
})
const running = (name: string, ready = true) => container(name, { running: {} }, { ready, started: ready })

function pod(status: Partial<Pod['status']>, names = ['orders', 'daprd'], sidecars: string[] = []): Pod {
  return {
    metadata: { name: 'orders-1', namespace: 'shop' },
    spec: {
      containers: names.map((name) => ({ name })),
      initContainers: sidecars.map((name) => ({ name, restartPolicy: 'Always' })),
    },
    status: { phase: 'Pending', ...status },
  }
}

describe('what a pod waits for', () => {
  it('a node', () => {
    const message = '0/1 nodes are available: 1 Insufficient memory.'
    const conditions = [{ type: 'PodScheduled', status: 'False', message }]
    expect(waitsFor(pod({ conditions }))).toBe(message)
  })

  it('an image', () => {
    const waiting = { reason: 'ErrImageNeverPull' }
    expect(waitsFor(pod({ containerStatuses: [container('orders', { waiting })] }))).toBe('orders: ErrImageNeverPull')
  })

  it('a container that crashes, with the code of its last end', () => {
    const crashing = container(
      'daprd',
      { waiting: { reason: 'CrashLoopBackOff' } },
      { restartCount: 2, lastState: { terminated: { reason: 'Error', exitCode: 1 } } },
    )
    const crashed = pod({ containerStatuses: [running('orders', false), crashing] })
    expect(waitsFor(crashed)).toBe('daprd: CrashLoopBackOff (Error, code 1)')
    expect(guiltyContainer(crashed)).toBe('daprd')
  })

  it('readiness', () => {
    const waiting = pod({ phase: 'Running', containerStatuses: [running('orders', false), running('daprd')] })
    expect(waitsFor(waiting)).toBe('orders to be ready')
    expect(guiltyContainer(waiting)).toBe('orders')
    expect(describeWaiting([waiting])).toBe('0 of 1 ready (orders-1: orders to be ready)')
  })
})

it('a pod is ready by its condition, and when a job has succeeded', () => {
  expect(isReady(pod({ conditions: [{ type: 'Ready', status: 'True' }] }))).toBe(true)
  expect(isReady(pod({ conditions: [{ type: 'Ready', status: 'False' }] }))).toBe(false)
  expect(isReady(pod({ phase: 'Succeeded' }))).toBe(true)
})

it('native sidecars count as containers, other init containers do not', () => {
  const counted = pod(
    {
      containerStatuses: [running('orders')],
      initContainerStatuses: [container('daprd', { running: {} }, { ready: true, restartCount: 2 })],
    },
    ['orders'],
    ['daprd'],
  )
  counted.spec.initContainers!.push({ name: 'once' })
  expect(readyContainers(counted)).toEqual({ ready: 2, of: 2, restarts: 2 })
})

it('a Deployment is complete when all pods are of its newest version and none is left of another', () => {
  const deployment = (status: object) => ({
    kind: 'Deployment',
    metadata: { name: 'orders', namespace: 'shop', generation: 2 },
    spec: { replicas: 2 },
    status,
  })
  const complete = { observedGeneration: 2, readyReplicas: 2, updatedReplicas: 2, replicas: 2 }
  expect(isComplete(deployment(complete))).toBe(true)
  expect(isComplete(deployment({ ...complete, observedGeneration: 1 }))).toBe(false)
  expect(isComplete(deployment({ ...complete, updatedReplicas: 1 }))).toBe(false)
  expect(isComplete(deployment({ ...complete, replicas: 3 }))).toBe(false)
  expect(isComplete(deployment({ ...complete, readyReplicas: 1 }))).toBe(false)
})
