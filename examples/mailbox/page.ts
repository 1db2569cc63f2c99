import type { Mail } from './store.ts'

/** The page loads nothing and runs no script. */
export const contentSecurityPolicy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

const style = `
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
  body { max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }
  details { border: 1px solid #8886; border-radius: 6px; margin: .5rem 0; padding: .5rem 1rem; }
  summary { cursor: pointer; }
  summary span { opacity: .75; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; }
`

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
const escape = (text: string) => text.replace(/[&<>"']/g, (character) => entities[character]!)

/** Escapes a text and makes its addresses links. */
const withLinks = (text: string) =>
  escape(text).replace(/https?:\/\/[^\s<]+/g, (url) => `<a href="${url}" rel="noreferrer">${url}</a>`)

const mailItem = ({ from, to, subject, text, createdAt }: Mail, isOpen: boolean) => `
  <details${isOpen ? ' open' : ''}>
    <summary>${escape(subject)} <span>to ${escape(to)}, <time>${escape(createdAt)}</time></span></summary>
    <p>From ${escape(from)}</p>
    <pre>${withLinks(text)}</pre>
  </details>`

/** Returns the mailbox as an HTML page; the newest mail is open. */
export const mailboxPage = (mails: Mail[]): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Mailbox</title>
<style>${style}</style>
</head>
<body>
<h1>Mailbox</h1>
<p>Mails of this shop, newest first. None of them has left this machine.</p>
${mails.length === 0 ? '<p>There are none yet.</p>' : mails.map((mail, index) => mailItem(mail, index === 0)).join('')}
</body>
</html>
`
