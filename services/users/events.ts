import * as z from 'zod'
import { readData, replayExtension, serveSubscriptions } from '#lib/consumer.ts'
import type { Implementation } from '#lib/grpc-server.ts'
import type { Logger } from '#lib/logger.ts'
import { TopicEventResponse_TopicEventResponseStatus as statuses } from '#protos/dapr/proto/runtime/v1/appcallback.ts'
import type { Mailer } from './mailer.ts'
import { resetRequested, type PasswordResets } from './password-resets.ts'

const requested = z.object({ requestId: z.string() })

/**
 * Sends the mails that requests for a new password ask for. `page`: of the shop's website; it gets
 * the token in the fragment, which no browser sends and no log has.
 *
 * - Acknowledged: a mail that was sent, and a request that has expired or has no account.
 * - Retried: everything while the store or the provider is not available.
 * - Moved to the dead-letter topic: what the provider refuses, since its address may be wrong.
 */
export function consumeResetRequests(deps: {
  resets: PasswordResets
  mailer: Mailer
  page: string
  log: Logger
}): Implementation {
  const { resets, mailer, page, log } = deps
  return serveSubscriptions(async (delivery) => {
    const { id, type, topic, extensions = {} } = delivery
    const replayFor = String(extensions[replayExtension] ?? '')
    if (type !== resetRequested || (replayFor !== '' && replayFor !== 'users')) return statuses.SUCCESS
    const read = readData(requested, delivery, log)
    if (!read) return statuses.DROP
    const line = { topic, eventId: id, eventType: type }
    try {
      const mail = await resets.mailOf(read.data.requestId)
      if (!mail) return statuses.SUCCESS
      const sent = await mailer.send({ to: mail.to, ...resetMail(`${page}#token=${mail.token}`) }, id)
      if (sent === 'sent') return statuses.SUCCESS
      log.error({ ...line, status: sent.refused }, 'event dropped: the mail provider refuses the mail')
      return statuses.DROP
    } catch (err) {
      log.warn({ ...line, err }, 'event will be retried')
      return statuses.RETRY
    }
  })
}

/** It has nothing that an account's owner may have written: anyone can have it sent to anyone. */
const resetMail = (link: string) => ({
  subject: 'Reset your password',
  text: `Somebody, probably you, has asked to reset the password of your account.

To choose a new one, open this page within an hour. It works once.
${link}

If it was not you, do nothing: your password stays as it is.
`,
})
