/**
 * Patterns in messages of kafkajs, Node and OpenSSL, and the setting that each is about. The first
 * match counts.
 */
const hints: [RegExp, string][] = [
  [/support the requested SASL mechanism/, 'Kafka does not support relaySaslMechanism'],
  [/SASL .*authentication failed/, 'Kafka rejected relaySaslUsername or relaySaslPassword'],
  [/does not match certificate's altnames/, "Kafka's certificate does not match the host in relayBrokers"],
  [/certificate has expired|not yet valid/, "Kafka's certificate has expired or is not yet valid"],
  [/unable to (verify|get)|self-signed certificate/, "Kafka's certificate is not signed by relayCaCert"],
  [
    /alert (bad certificate|certificate|unknown ca|handshake failure)/,
    'Kafka rejected relayClientCert, or requires one',
  ],
  [
    /before secure TLS connection|wrong version number|packet length too long/,
    'Kafka does not speak TLS at relayBrokers',
  ],
  [/^Closed connection/, 'Kafka closed the connection; if it requires TLS, set relayAuthType'],
  [/does not host this topic-partition/, 'relayTopic does not exist in Kafka'],
  [/Not authorized|authorization failed/i, 'Kafka does not allow this user to write to relayTopic'],
]

/**
 * Returns an error of the Kafka client that says which setting to check, or the error as is if that
 * is unknown.
 */
export function explainKafkaError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const hint = hints.find(([pattern]) => pattern.test(error.message))?.[1]
  return hint === undefined ? error : new Error(`${hint} (${firstLine(error.message)})`, { cause: error })
}

// kafkajs repeats itself: "Connection error: x: Connection error: x".
const firstLine = (message: string): string => /^(.+?)(?:\s*: \1\s*)?$/s.exec(message)?.[1]?.split('\n')[0] ?? message
