// The least that an acknowledged message costs on this machine: a server of its own process that
// writes what a socket sends into a zeroed file, calls fdatasync, and answers. No protocol, no
// index, one connection at a time.
import { fork } from 'node:child_process'
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { peerDirectory } from './peer.ts'

const FILE_BYTES = 64 * 1024 * 1024
const ANSWER = Buffer.alloc(200, 1)
const SERVE = 'serve'

/** Times of `count` messages of some bytes, one in flight, in ms. */
export async function bareSendMs(count: number, bytes: number): Promise<number[]> {
  const child = fork(fileURLToPath(import.meta.url), [SERVE], { stdio: 'inherit' })
  const port = await new Promise<number>((resolve) => child.once('message', resolve))
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  const message = Buffer.alloc(bytes, 1)
  const times: number[] = []
  await new Promise<void>((resolve, reject) => {
    let startedMs = 0
    const send = (): void => {
      startedMs = performance.now()
      socket.write(message)
    }
    socket.once('connect', send).once('error', reject)
    socket.on('data', () => {
      times.push(performance.now() - startedMs)
      if (times.length < count) send()
      else resolve()
    })
  })
  socket.destroy()
  child.kill('SIGKILL')
  return times
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
      socket.write(ANSWER)
    })
    socket.on('close', () => closeSync(file))
  })
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as { port: number }).port))
}

if (process.argv[2] === SERVE) serve()
