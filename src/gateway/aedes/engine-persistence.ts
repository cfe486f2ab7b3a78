// The persistence of the engine's aedes: it tells a connection of a QoS 2 message that is no new
// one, and keeps from aedes the wills that it would be refused.
import { Readable } from 'node:stream'
import type { Client } from 'aedes'
import type { AedesBroker } from '../../aedes/options.ts'
import type { Packet } from '../../aedes/packet.ts'
import { PortPersistence } from '../../aedes/persistence.ts'
import type { KnownBrokers } from '../../aedes/wills.ts'
import type { BrokerError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { Hooks } from './hooks.ts'

/**
 * aedes publishes so many at a time, and looks at what became of them when it has them all: it is
 * not to wait for one of them while another may fail.
 */
const WILLS_AT_ONCE = 16

interface WillRules {
  /** Why a will that was left behind may not go out; null: it may. */
  readonly refusalOf: (will: Packet) => BrokerError | null
  readonly log: Logger
}

export class EnginePersistence extends PortPersistence {
  readonly #rules: WillRules

  constructor(options: AedesBroker, rules: WillRules) {
    super(options)
    this.#rules = rules
  }

  override async incomingGetPacket(client: Client, packet: Packet): Promise<Packet> {
    const found = await super.incomingGetPacket(client, packet)
    if (packet.cmd === 'publish') Hooks.connectionOf(client).stored(Hooks.bytesOf(packet))
    return found
  }

  override streamWill(known?: KnownBrokers): Readable {
    return Readable.from(this.#allowed(super.streamWill(known)))
  }

  /** aedes would end at one that is refused, keep it, and end there each time. */
  async *#allowed(wills: AsyncIterable<Packet>): AsyncGenerator<Packet> {
    let allowed: Packet[] = []
    for await (const will of wills) {
      const refusal = this.#rules.refusalOf(will)
      if (refusal === null) allowed.push(will)
      else await this.#lose(will, refusal)
      if (allowed.length < WILLS_AT_ONCE) continue
      yield* allowed
      allowed = []
    }
    yield* allowed
  }

  async #lose({ topic, clientId = '' }: Packet, refusal: BrokerError): Promise<void> {
    const fields = { evt: 'mqtt.will_lost', clientId, topic, err: refusal }
    this.#rules.log.warn(fields, 'a will could not be published')
    await this.delWill({ id: clientId })
  }
}
