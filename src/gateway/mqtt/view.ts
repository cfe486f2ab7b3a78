// What the gateway keeps, as operators look at it: sessions and the names of retained messages.
import type { MqttSessionView, MqttView } from '../../port/gateway.ts'
import type { MqttParts } from './parts.ts'
import { NEVER, type Session } from './session/session.ts'

export const mqttView = ({ sessions, retained }: MqttParts): MqttView => ({
  sessions: () => sessions.all(),
  session: (clientId) => {
    const found = sessions.find(clientId)
    return found && viewOf(found)
  },
  retained: (filter, after, max) => retained.matching(filter, after, max),
})

const viewOf = ({
  clientId,
  user,
  holder,
  expiryMs,
  disconnectedMs,
  subscriptions,
  inFlight,
}: Session): MqttSessionView => ({
  ...{ clientId, user, isConnected: holder !== undefined, disconnectedMs },
  expiryMs: expiryMs === NEVER ? undefined : expiryMs,
  inFlight: inFlight.count,
  subscriptions: Array.from(subscriptions.values(), ({ text, qos }) => ({ filter: text, qos })),
})
