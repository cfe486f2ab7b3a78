// What is at the addresses of clients while no front-end is.
import { allOf } from '../listeners.ts'
import type { GatewaySocket } from '../port/gateway.ts'
import type { Composition } from './composition.ts'

type ClientProtocol = 'remoting' | 'mqtt' | 'amqp'

/** A client that is closed at once goes to its next address. */
export const TURNS_AWAY = { accept: (socket: GatewaySocket): void => socket.destroy() }

export function turnAway(
  { listeners, any }: Pick<Composition, 'listeners' | 'any'>,
  protocols: readonly ClientProtocol[],
): void {
  for (const name of protocols) {
    for (const listener of allOf(listeners, name)) listener.serve(TURNS_AWAY)
    any.open(name, TURNS_AWAY)
  }
}
