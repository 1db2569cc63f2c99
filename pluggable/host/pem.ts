import { createPrivateKey, X509Certificate } from 'node:crypto'

/**
 * True for one certificate or several in PEM, all of which can be read. Node's TLS takes any text,
 * and then trusts nobody.
 */
export function areCertificates(pem: string): boolean {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  return blocks.length > 0 && blocks.every((block) => works(() => new X509Certificate(block)))
}

/** True for a private key in PEM that needs no passphrase. */
export const isPrivateKey = (pem: string): boolean => works(() => createPrivateKey(pem))

function works(attempt: () => unknown): boolean {
  try {
    attempt()
    return true
  } catch {
    return false
  }
}
