// The same nginx as the edge's, serving one file: what it can do at most.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts } from '../platform/free-ports.ts'
import { poll } from '../platform/poll.ts'

/** Serves a file of `bytes` at /file, with as many workers as the edge has, and without a log. */
export async function serveStaticFile(
  program: string,
  bytes: number,
): Promise<{ url: string; close: () => Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'nginx-'))
  const [port] = await freePorts(1)
  mkdirSync(join(folder, 'html'))
  writeFileSync(join(folder, 'html', 'file'), 'x'.repeat(Math.round(bytes)))
  writeFileSync(
    join(folder, 'nginx.conf'),
    // Its workers would be another user, who may not enter the folder.
    `${process.getuid?.() === 0 ? 'user root;' : ''}
daemon off;
pid nginx.pid;
worker_processes 2;
error_log stderr crit;
events { worker_connections 4000; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=10;
  keepalive_requests 1000000;
  default_type application/json;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server { listen 127.0.0.1:${port}; root html; }
}
`,
  )
  const child = spawn(program, ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const url = `http://127.0.0.1:${port}`
  await poll('nginx answers', () =>
    fetch(`${url}/file`).then(
      (answer) => answer.ok,
      () => false,
    ),
  )
  return {
    url,
    async close() {
      child.kill('SIGQUIT')
      if (child.exitCode === null) await once(child, 'exit')
      rmSync(folder, { recursive: true })
    },
  }
}
