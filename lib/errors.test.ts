import { Metadata, status, type ServiceError } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { AppError, errorKinds, fromGrpcError, invalid, toAppError, toGrpcStatus, type ErrorKind } from './errors.ts'

/** A status as the client sees it. */
const received = (s: ReturnType<typeof toGrpcStatus>) => Object.assign(new Error(s.details), s) as ServiceError

describe('an AppError crosses gRPC', () => {
  it.each(Object.keys(errorKinds) as ErrorKind[])('%s keeps kind and code', (kind) => {
    const back = fromGrpcError(received(toGrpcStatus(new AppError(kind, 'some_code', 'what happened'))), 'orders')
    expect(back).toMatchObject({ kind, code: 'some_code' })
  })
  it('keeps the wrong fields', () => {
    const back = fromGrpcError(received(toGrpcStatus(invalid('lines.0.sku', 'is empty'))), 'orders')
    expect(back.fields).toEqual([{ field: 'lines.0.sku', message: 'is empty' }])
  })
  it('hides the text of an unexpected error', () => {
    const sent = toGrpcStatus(new TypeError('password=hunter2'))
    expect(sent).toMatchObject({ code: status.INTERNAL, details: 'internal error' })
  })
  it('is found in a chain of causes', () => {
    expect(toAppError(new Error('outer', { cause: invalid('email', 'is missing') })).code).toBe('invalid_field')
  })
})

describe('a status without our details', () => {
  it.each([status.UNAVAILABLE, status.UNKNOWN, status.DEADLINE_EXCEEDED, status.INTERNAL])(
    '%s came from in between: unavailable',
    (code) => {
      const error = Object.assign(new Error('x'), { code, details: 'x', metadata: new Metadata() })
      expect(fromGrpcError(error, 'orders')).toMatchObject({ kind: 'unavailable', code: 'orders_unavailable' })
    },
  )
  it('PERMISSION_DENIED of the access control list is our own fault', () => {
    const error = Object.assign(new Error('x'), {
      code: status.PERMISSION_DENIED,
      details: 'x',
      metadata: new Metadata(),
    })
    expect(fromGrpcError(error, 'orders').kind).toBe('internal')
  })
})
