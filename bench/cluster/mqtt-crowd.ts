// Very many MQTT 3.1.1 clients with durable sessions and a subscription each, over raw sockets.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** Connections that are being opened at a time. */
const OPENING_MAX = 256
const CONNACK = 2
const SUBACK = 9

export class MqttCrowd {
  readonly #sockets: Socket[] = []
  /** How many found their session. */
  present = 0

  /** Each with its subscriptions; with `filter` it subscribes. */
  async connect(port: number, count: number, filter?: (client: number) => string): Promise<void> {
    let next = 0
    const open = async (): Promise<void> => {
      while (next < count) await this.#open(port, next++, filter)
    }
    await Promise.all(Array.from({ length: OPENING_MAX }, open))
  }

  close(): void {
    for (const socket of this.#sockets.splice(0)) socket.destroy()
  }

  async #open(port: number, client: number, filter?: (client: number) => string): Promise<void> {
    const socket = await dialPatiently(port)
    this.#sockets.push(socket)
    let wanted: { readonly type: number; came(packet: Buffer): void } | undefined
    const packet = (type: number): Promise<Buffer> =>
      new Promise((resolve, reject) => {
        wanted = { type, came: resolve }
        socket.once('close', () => reject(new Error(`client ${client} was closed`)))
      })
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      if (bytes[0]! >> 4 === wanted?.type) wanted.came(bytes)
    })
    const connack = packet(CONNACK)
    socket.write(connectPacket(`crowd-${client}`))
    const answer = await connack
    if (answer[3] !== 0) throw new Error(`client ${client}: CONNACK ${answer[3]}`)
    this.present += answer[2]! & 1
    if (filter !== undefined) {
      const suback = packet(SUBACK)
      socket.write(subscribePacket(filter(client)))
      const granted = await suback
      if (granted[4]! > 2) throw new Error(`client ${client}: SUBACK ${granted[4]}`)
    }
    socket.removeAllListeners('close')
  }
}

/** The gateway may not listen yet. */
async function dialPatiently(port: number): Promise<Socket> {
  for (;;) {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    try {
      await once(socket, 'connect')
      return socket
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
}

/** With a session that is kept. */
function connectPacket(clientId: string): Buffer {
  const id = Buffer.from(clientId)
  const head = [0, 4, ...Buffer.from('MQTT'), 4, 0, 0, 0, 0, id.length]
  return Buffer.from([0x10, head.length + id.length, ...head, ...id])
}

function subscribePacket(filter: string): Buffer {
  const text = Buffer.from(filter)
  return Buffer.from([0x82, 5 + text.length, 0, 1, 0, text.length, ...text, 0])
}
