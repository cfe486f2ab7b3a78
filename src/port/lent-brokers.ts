// The Broker port of a server in this process, by the handle that its program has of the server.
import type { Broker } from './broker.ts'

const lent = new WeakMap<object, () => Broker | undefined>()

export const lendBroker = (server: object, broker: () => Broker | undefined): void => {
  lent.set(server, broker)
}

/** undefined: it is no server of this process, or none that has a broker now. */
export const lentBroker = (server: object): Broker | undefined => lent.get(server)?.()
