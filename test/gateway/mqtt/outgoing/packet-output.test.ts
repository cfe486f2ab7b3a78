import test from 'ava'
import { PacketOutput } from '../../../../src/gateway/mqtt/outgoing/packet-output.ts'
import { COPY_BYTES_MAX } from '../../../../src/output.ts'

class Socket {
  readonly unsentBytes = 0
  readonly written: Buffer[] = []
  write(bytes: Buffer): void {
    this.written.push(Buffer.from(bytes))
  }
  end(): void {}
}

function open(): { socket: Socket; output: PacketOutput } {
  const socket = new Socket()
  return { socket, output: new PacketOutput(socket, () => {}) }
}

test('an output whose packets wait for a save holds no block', (t) => {
  const { socket, output } = open()
  output.appendAck(0x50, 1)
  output.seal()
  t.is(output.block.length, 0)
  output.flushSealed()
  output.flush()
  t.is(output.block.length, 0)
  t.deepEqual([...Buffer.concat(socket.written)], [0x50, 2, 0, 1])
})

test('an output that sent a large payload holds no block', (t) => {
  const { socket, output } = open()
  const large = Buffer.alloc(COPY_BYTES_MAX + 1, 7)
  output.append(Buffer.from('head'))
  output.append(large)
  output.flush()
  t.is(output.block.length, 0)
  t.true(Buffer.concat(socket.written).equals(Buffer.concat([Buffer.from('head'), large])))
})
