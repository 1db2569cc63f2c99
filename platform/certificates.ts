// Certificate authorities for tests and test clusters. Requires `openssl`.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A certificate and its key in PEM, and their files. The key is PKCS #8 without a passphrase. */
export type Certificate = { cert: string; key: string; certFile: string; keyFile: string }

export type Authority = {
  /** Its own certificate. */
  cert: string
  certFile: string
  /**
   * Issues a certificate for a server, with its names (`DNS:localhost`, `IP:127.0.0.1`), or for a
   * client, without.
   */
  issue(commonName: string, names?: string[]): Certificate
}

/**
 * Creates an authority with its files in `folder`; it and its certificates are valid for `days`.
 * @throws Error with openssl's output
 */
export function createAuthority(folder: string, name: string, days: number = 2): Authority {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  // Everything is in config files: the effects of -addext and of the machine's own openssl.cnf
  // differ between versions.
  const config = (file: string, commonName: string, extensions: string[]) =>
    writeFileSync(
      join(folder, `${file}.cnf`),
      [
        '[req]',
        'prompt = no',
        'distinguished_name = subject',
        '[subject]',
        `CN = ${commonName}`,
        '[extensions]',
        ...extensions,
        '',
      ].join('\n'),
    )
  const newKey = (file: string) =>
    openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', `${file}.key`)
  const read = (file: string) => readFileSync(join(folder, file), 'utf8')

  newKey(name)
  config(name, name, [
    'basicConstraints = critical, CA:TRUE',
    'keyUsage = critical, keyCertSign, cRLSign',
    'subjectKeyIdentifier = hash',
  ])
  openssl(
    'req',
    '-x509',
    '-new',
    '-key',
    `${name}.key`,
    '-days',
    String(days),
    '-config',
    `${name}.cnf`,
    '-extensions',
    'extensions',
    '-out',
    `${name}.crt`,
  )

  return {
    cert: read(`${name}.crt`),
    certFile: join(folder, `${name}.crt`),
    issue(commonName, names = []) {
      const file = `${name}-${commonName}`
      newKey(file)
      config(file, commonName, [
        'basicConstraints = CA:FALSE',
        'extendedKeyUsage = serverAuth, clientAuth',
        ...(names.length > 0 ? [`subjectAltName = ${names.join(', ')}`] : []),
      ])
      openssl('req', '-new', '-key', `${file}.key`, '-config', `${file}.cnf`, '-out', `${file}.csr`)
      openssl(
        'x509',
        '-req',
        '-in',
        `${file}.csr`,
        '-CA',
        `${name}.crt`,
        '-CAkey',
        `${name}.key`,
        '-CAcreateserial',
        '-days',
        String(days),
        '-extfile',
        `${file}.cnf`,
        '-extensions',
        'extensions',
        '-out',
        `${file}.crt`,
      )
      return {
        cert: read(`${file}.crt`),
        key: read(`${file}.key`),
        certFile: join(folder, `${file}.crt`),
        keyFile: join(folder, `${file}.key`),
      }
    },
  }
}
