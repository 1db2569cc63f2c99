import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { KafkaConfig, SASLOptions } from 'kafkajs'
import { z } from 'zod'
import { areCertificates, isPrivateKey } from '../host/pem.ts'

// Refused values are not repeated where they can be secret.
const certificates = z.string().refine(areCertificates, 'holds no certificate in PEM, or one that cannot be read')
const privateKey = z.string().refine(isPrivateKey, 'is no private key in PEM, or one with a passphrase')
const trueOrFalse = z.stringbool('must be true or false')

const authTypes = ['none', 'password', 'mtls', 'certificate'] as const

const mechanisms = {
  PLAINTEXT: 'plain',
  PLAIN: 'plain',
  'SHA-256': 'scram-sha-256',
  'SHA-512': 'scram-sha-512',
} as const
const mechanismNames = Object.keys(mechanisms) as (keyof typeof mechanisms)[]

/**
 * How the relay shows itself to Kafka, and Kafka to it: the metadata of Dapr's `pubsub.kafka`, with
 * `relay` before each name.
 */
export const kafkaSettings = {
  relayClientId: z.string().optional(),
  relayAuthType: z
    .string()
    .toLowerCase()
    .pipe(
      z.enum(authTypes, {
        error: ({ input }) => `"${String(input)}" is not supported: it may be ${authTypes.join(', ')}`,
      }),
    )
    .default('none'),
  relaySaslUsername: z.string().optional(),
  relaySaslPassword: z.string().optional(),
  relaySaslMechanism: z
    .enum(mechanismNames, {
      error: ({ input }) => `"${String(input)}" is not supported: it may be PLAINTEXT, SHA-256, SHA-512`,
    })
    .optional(),
  relayDisableTls: trueOrFalse.optional(),
  relaySkipVerify: trueOrFalse.optional(),
  relayCaCert: certificates.optional(),
  relayClientCert: certificates.optional(),
  relayClientKey: privateKey.optional(),
}

export type KafkaSettings = z.output<z.ZodObject<typeof kafkaSettings>>

type Field = Exclude<keyof KafkaSettings, 'relayClientId' | 'relayAuthType'>

const fields = Object.keys(kafkaSettings).filter(
  (name) => name !== 'relayClientId' && name !== 'relayAuthType',
) as Field[]

const usedBy: Record<KafkaSettings['relayAuthType'], { needed: Field[]; optional: Field[] }> = {
  none: { needed: [], optional: ['relayDisableTls'] },
  password: {
    needed: ['relaySaslUsername', 'relaySaslPassword'],
    optional: ['relaySaslMechanism', 'relayDisableTls', 'relaySkipVerify', 'relayCaCert'],
  },
  mtls: { needed: ['relayClientCert', 'relayClientKey'], optional: ['relaySkipVerify', 'relayCaCert'] },
  certificate: { needed: ['relayCaCert'], optional: ['relaySkipVerify'] },
}

/**
 * Refuses what is missing for the chosen `relayAuthType`, and what that would not heed: who sets a
 * certificate authority must not get a connection without encryption.
 */
export function checkKafkaSettings(
  settings: KafkaSettings & { relayBrokers?: string[] | undefined },
  context: z.RefinementCtx,
): void {
  const { relayAuthType, relayBrokers, relayClientCert, relayClientKey, relayDisableTls } = settings
  const refuse = (field: string, message: string) => context.addIssue({ code: 'custom', path: [field], message })
  const { needed, optional } = usedBy[relayAuthType]
  for (const field of fields) {
    const isSet = settings[field] !== undefined && settings[field] !== false
    if (needed.includes(field) && !isSet) refuse(field, `is required with relayAuthType ${relayAuthType}`)
    if (!isSet) continue
    if (!relayBrokers) refuse(field, 'needs relayBrokers')
    else if (![...needed, ...optional].includes(field)) refuse(field, `is not used with relayAuthType ${relayAuthType}`)
    else if (relayDisableTls && (field === 'relayCaCert' || field === 'relaySkipVerify'))
      refuse(field, 'is not used with relayDisableTls')
  }
  if (
    relayClientCert &&
    relayClientKey &&
    !new X509Certificate(relayClientCert).checkPrivateKey(createPrivateKey(relayClientKey))
  )
    refuse('relayClientKey', 'does not belong to relayClientCert')
}

/**
 * The settings in kafkajs' words. Without `relayAuthType` there is no encryption, as in Dapr's
 * pubsub.kafka with `none`.
 */
export function kafkaConnection(settings: KafkaSettings): Pick<KafkaConfig, 'ssl' | 'sasl'> {
  const { relayAuthType, relayDisableTls, relaySkipVerify, relayCaCert, relayClientCert, relayClientKey } = settings
  if (relayAuthType === 'none') return {}
  const ssl = {
    rejectUnauthorized: !relaySkipVerify,
    ...(relayCaCert ? { ca: relayCaCert } : {}),
    ...(relayClientCert && relayClientKey ? { cert: relayClientCert, key: relayClientKey } : {}),
  }
  const {
    relaySaslUsername: username = '',
    relaySaslPassword: password = '',
    relaySaslMechanism = 'PLAINTEXT',
  } = settings
  return {
    ...(relayDisableTls ? {} : { ssl }),
    ...(relayAuthType === 'password'
      ? { sasl: { mechanism: mechanisms[relaySaslMechanism], username, password } as SASLOptions }
      : {}),
  }
}
