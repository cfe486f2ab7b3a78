// A client of the aedes engine that sends and does not read.
import test from 'ava'
import { startMqttOver } from '../../support/mqtt/mqtt-over-broker.ts'
import { connect, PINGREQ, publish } from '../../support/mqtt/mqtt-packets.ts'
import { StillSocket } from '../../support/peers/still-socket.ts'
import { eventually } from '../../support/waiting.ts'

/** Takes bytes until it is full, and says when it is read again. */
class SlowSocket extends StillSocket {
  isFull = false
  isPaused = true
  drained: () => void = () => {}

  override write(bytes: Buffer): boolean {
    super.write(bytes)
    return !this.isFull
  }

  override onDrain(handler: () => void = () => {}): void {
    this.drained = handler
  }

  override pause(): void {
    this.isPaused = true
  }

  override resume(): void {
    this.isPaused = false
  }

  get bytes(): number {
    return this.written.reduce((sum, { length }) => sum + length, 0)
  }
}

test('it is not read while as much waits for it as may, and is answered when it reads', async (t) => {
  const mqtt = { engine: 'aedes', undeliveredBytesMax: 1000 } as const
  const { gateway } = await startMqttOver(t, { mqtt })
  const socket = new SlowSocket()
  t.teardown(() => socket.destroy())
  gateway.accept(socket)
  socket.receive(connect('c'), PINGREQ)
  await eventually(async () => socket.bytes === 6)
  socket.isFull = true
  const refused = Array.from({ length: 1000 }, (_, i) =>
    publish('$SYS/x', '', { qos: 1, id: i + 1 }),
  )
  socket.receive(...refused)
  t.true(socket.isPaused)
  t.true(socket.bytes < 1100)
  socket.isFull = false
  socket.drained()
  await eventually(async () => socket.bytes === 6 + 4 * 1000 && !socket.isPaused)
})
