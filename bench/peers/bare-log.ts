// The least that an acknowledged message costs on this machine: a server of its own process that
// writes what a socket sends into a zeroed file, calls fdatasync, and answers. No protocol, no
// index, one connection at a time.
import { fork } from 'node:child_process'
import { fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { peerDirectory } from './peer.ts'

/** What a native client sends for a body of 100 bytes, and about what it is answered. */
export const BARE_MESSAGE: Buffer = Buffer.alloc(450, 1)
export const BARE_ANSWER: Buffer = Buffer.alloc(200, 1)

const FILE_BYTES = 64 * 1024 * 1024
const SERVE = 'serve'

export interface BareLog {
  readonly port: number
  readonly pid: number
  kill(): void
}

export async function startBareLog(): Promise<BareLog> {
  const child = fork(fileURLToPath(import.meta.url), [SERVE], { stdio: 'inherit' })
  const port = await new Promise<number>((resolve) => child.once('message', resolve))
  return { port, pid: child.pid!, kill: () => void child.kill('SIGKILL') }
}

function serve(): void {
  const directory = peerDirectory('bare')
  const file = openSync(join(directory, 'file'), 'w')
  const zeros = Buffer.alloc(1024 * 1024)
  for (let at = 0; at < FILE_BYTES; at += zeros.length) writeSync(file, zeros, 0, zeros.length, at)
  fdatasyncSync(file)
  // The open file stays readable and writable: nothing is left behind when this process is killed.
  rmSync(directory, { recursive: true })
  let at = 0
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('data', (bytes) => {
      writeSync(file, bytes, 0, bytes.length, at % (FILE_BYTES / 2))
      at += bytes.length
      fdatasyncSync(file)
      socket.write(BARE_ANSWER)
    })
  })
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as { port: number }).port))
}

if (process.argv[2] === SERVE) serve()
