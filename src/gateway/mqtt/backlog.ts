// What the gateway keeps, in numbers: sessions with how far each is behind, and retained messages.
import { Slice } from '../../clock.ts'
import { gauge } from '../../numbers/declared.ts'
import type { Numbers, SetGauge } from '../../numbers/numbers.ts'
import type { Broker } from '../../port/broker.ts'
import type { MqttParts } from './parts.ts'
import type { Session } from './session/session.ts'

const SESSIONS = gauge('trivet_mqtt_sessions', 'sessions', {
  help: 'MQTT sessions, with a connection or waiting for one.',
  labels: { state: ['connected', 'away'] },
})
const SUBSCRIPTIONS = gauge('trivet_mqtt_subscriptions', 'subscriptions', {
  help: 'Subscriptions of all sessions, shared ones included.',
})
const RETAINED = gauge('trivet_mqtt_retained_messages', 'messages', {
  help: 'Retained messages.',
})
const RETAINED_BYTES = gauge('trivet_mqtt_retained_bytes', 'bytes', {
  help: 'Bytes of the retained messages.',
})
/** Of the sessions that are furthest behind. */
const LAGS_MAX = 100
const BACKLOG = gauge('trivet_mqtt_backlog_messages', 'messages', {
  help:
    'Messages that sessions have still to be sent, of all sessions together; one that several ' +
    'filters of a session select counts for each. Before a cluster: messages of its topics that a ' +
    'connected session has still to look through. Shared subscriptions are consumer groups.',
})
const LAG = gauge('trivet_mqtt_session_lag_messages', 'messages', {
  help: `The same for each of the ${LAGS_MAX} sessions that are furthest behind.`,
  labels: { client_id: LAGS_MAX },
})

export function showMqtt(parts: MqttParts): void {
  const { sessions, retained, context } = parts
  showKept(context.numbers, retained, () => {
    const counts = { connected: 0, away: 0, subscriptions: 0 }
    for (const session of sessions.all()) {
      counts[session.holder === undefined ? 'away' : 'connected']++
      counts.subscriptions += session.subscriptions.size
    }
    return counts
  })
  context.numbers.gauges([BACKLOG, LAG], (set) => showLags(parts, set))
}

/** What every engine has: sessions and retained messages. */
export function showKept(
  numbers: Numbers,
  retained: { readonly count: number; readonly bytes: number },
  sessions: () => {
    readonly connected: number
    readonly away: number
    readonly subscriptions: number
  },
): void {
  numbers.gauge(RETAINED, () => retained.count)
  numbers.gauge(RETAINED_BYTES, () => retained.bytes)
  numbers.gauges([SESSIONS, SUBSCRIPTIONS], (set) => {
    const { connected, away, subscriptions } = sessions()
    set(SESSIONS, connected, { state: 'connected' })
    set(SESSIONS, away, { state: 'away' })
    set(SUBSCRIPTIONS, subscriptions)
  })
}

async function showLags({ sessions, context }: MqttParts, set: SetGauge): Promise<void> {
  const slice = new Slice(context.clock)
  const behind: { readonly clientId: string; readonly lag: number }[] = []
  for (const session of [...sessions.all()]) {
    if (slice.isOver) await slice.rest()
    const lag = await lagOf(session, context.broker)
    if (lag > 0) behind.push({ clientId: session.clientId, lag })
  }
  set(
    BACKLOG,
    behind.reduce((sum, { lag }) => sum + lag, 0),
  )
  behind.sort((a, b) => b.lag - a.lag)
  for (const { clientId, lag } of behind.slice(0, LAGS_MAX)) set(LAG, lag, { client_id: clientId })
}

async function lagOf({ subscriptions, reading }: Session, { cursors }: Broker): Promise<number> {
  let lag = reading?.behind ?? 0
  for (const { share, places } of subscriptions.values()) {
    for (const place of share === undefined ? places : []) {
      const { maxOffset } = await cursors.range(place)
      lag += Math.max(0, maxOffset - place.next)
    }
  }
  return lag
}
