import { createPrivateKey, X509Certificate } from 'node:crypto'

/**
 * True for one or more certificates in PEM, all of them readable. Node's TLS accepts any text, and
 * then trusts no one.
 */
export function areCertificates(pem: string): boolean {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  return blocks.length > 0 && blocks.every((block) => succeeds(() => new X509Certificate(block)))
}

/** True for a private key in PEM that needs no passphrase. */
export const isPrivateKey = (pem: string): boolean => succeeds(() => createPrivateKey(pem))

function succeeds(attempt: () => unknown): boolean {
  try {
    attempt()
    return true
  } catch {
    return false
  }
}
