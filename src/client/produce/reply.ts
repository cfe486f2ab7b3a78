// The reply to a request, as the one that asked reads it.
import { INTERNAL_PROPERTIES, MESSAGE_TYPE, TIME_TO_LIVE } from '../../model/properties.ts'
import { jsonOf, textOf } from '../calls/body-text.ts'

const NOT_OWN: ReadonlySet<string> = new Set([
  ...INTERNAL_PROPERTIES,
  TIME_TO_LIVE,
  MESSAGE_TYPE,
  'PUSH_REPLY_TIME',
])

export class Reply {
  readonly body: Uint8Array
  readonly #properties: ReadonlyMap<string, string>

  constructor(body: Uint8Array, properties: ReadonlyMap<string, string>) {
    this.body = body
    this.#properties = properties
  }

  /** The responder's own. */
  get properties(): ReadonlyMap<string, string> {
    return new Map([...this.#properties].filter(([name]) => !NOT_OWN.has(name)))
  }

  /** Any property by its RocketMQ name. */
  property(name: string): string | undefined {
    return this.#properties.get(name)
  }

  text(): string {
    return textOf(this.body)
  }

  /** @throws BrokerError MESSAGE_INVALID when the body is not JSON */
  json<T = unknown>(): T {
    return jsonOf(this.body, 'the reply')
  }
}
