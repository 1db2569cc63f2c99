import type { Dapr } from '#lib/dapr.ts'
import { unavailable } from '#lib/errors.ts'

/** The mail is at fault, its address most likely. Any other status may change. */
const refusals = [400, 413, 422]
/** The HTTPEndpoint resource. The sidecar adds the credentials, so this service has none. */
const endpoint = 'mail'
const timeoutMs = 10_000

export type Mail = { to: string; subject: string; text: string }
export type Mailer = ReturnType<typeof createMailer>

/**
 * Creates the client of the mail provider, an HTTP API like Resend's
 * (https://resend.com/docs/api-reference/emails/send-email). Not Dapr's bindings.smtp: its calls write
 * their addresses to one struct
 * (https://github.com/dapr/components-contrib/blob/v1.18.0/bindings/smtp/smtp.go), so one at the same
 * time may get another's mail.
 */
export function createMailer({ dapr, from }: { dapr: Pick<Dapr, 'http'>; from: string }) {
  return {
    /**
     * Sends a mail, once for each key. `refused`: the provider will never take it, and responded
     * with this status. Throws `unavailable` if it may take it later.
     */
    async send({ to, subject, text }: Mail, key: string): Promise<'sent' | { refused: number }> {
      const headers = { 'content-type': 'application/json', 'idempotency-key': key }
      const body = JSON.stringify({ from, to: [to], subject, text })
      const { status } = await dapr.http(endpoint, '/emails', { method: 'POST', headers, body }, { timeoutMs })
      // 409: a mail with this key has come.
      if ((status >= 200 && status < 300) || status === 409) return 'sent'
      if (refusals.includes(status)) return { refused: status }
      throw unavailable('mail_unavailable', `the mail provider responded with ${status}`)
    },
  }
}
