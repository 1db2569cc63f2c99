import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { KafkaConfig, SASLOptions } from 'kafkajs'
import { z } from 'zod'
import { areCertificates, isPrivateKey } from '../host/pem.ts'

// Rejected values are not repeated where they can be secret.
const certificates = z.string().refine(areCertificates, 'must be readable certificates in PEM')
const privateKey = z.string().refine(isPrivateKey, 'must be a private key in PEM without a passphrase')
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
 * How the relay and Kafka authenticate to each other: the metadata of Dapr's `pubsub.kafka`, with
 * `relay` before each name.
 */
export const kafkaSettings = {
  relayClientId: z.string().optional(),
  relayAuthType: z
    .string()
    .toLowerCase()
    .pipe(
      z.enum(authTypes, {
        error: ({ input }) => `must be one of ${authTypes.join(', ')}, not "${String(input)}"`,
      }),
    )
    .default('none'),
  relaySaslUsername: z.string().optional(),
  relaySaslPassword: z.string().optional(),
  relaySaslMechanism: z
    .enum(mechanismNames, {
      error: ({ input }) => `must be one of PLAINTEXT, SHA-256, SHA-512, not "${String(input)}"`,
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
 * Reports settings that the chosen `relayAuthType` requires or would ignore: setting a certificate
 * authority must not end in an unencrypted connection.
 */
export function checkKafkaSettings(
  settings: KafkaSettings & { relayBrokers?: string[] | undefined },
  context: z.RefinementCtx,
): void {
  const { relayAuthType, relayBrokers, relayClientCert, relayClientKey, relayDisableTls } = settings
  const report = (field: string, message: string) => context.addIssue({ code: 'custom', path: [field], message })
  const { needed, optional } = usedBy[relayAuthType]
  for (const field of fields) {
    const isSet = settings[field] !== undefined && settings[field] !== false
    if (needed.includes(field) && !isSet) report(field, `is required with relayAuthType ${relayAuthType}`)
    if (!isSet) continue
    if (!relayBrokers) report(field, 'requires relayBrokers')
    else if (![...needed, ...optional].includes(field)) report(field, `is not used with relayAuthType ${relayAuthType}`)
    else if (relayDisableTls && (field === 'relayCaCert' || field === 'relaySkipVerify'))
      report(field, 'is not used with relayDisableTls')
  }
  if (
    relayClientCert &&
    relayClientKey &&
    !new X509Certificate(relayClientCert).checkPrivateKey(createPrivateKey(relayClientKey))
  )
    report('relayClientKey', 'does not belong to relayClientCert')
}

/**
 * Returns the settings as kafkajs takes them. Without `relayAuthType` there is no encryption, as in
 * Dapr's pubsub.kafka with `none`.
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
