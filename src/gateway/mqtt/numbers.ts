// What the MQTT front-end counts, beside its messages.
import { counter } from '../../numbers/declared.ts'
import type { Counter, Numbers } from '../../numbers/numbers.ts'

const EXPIRED = counter('trivet_mqtt_expired_total', 'messages', {
  help: 'Messages whose expiry was over before a client could be sent them.',
})
const TOO_LARGE = counter('trivet_mqtt_too_large_total', 'messages', {
  help: "Messages not sent because they are larger than the client's maximum packet size.",
})
const MISSED = counter('trivet_mqtt_missed_total', 'messages', {
  help: 'Messages that retention took before a session had read them.',
})

/** Bumped beside what they count. */
export interface MqttCounters {
  readonly expired: Counter
  readonly tooLarge: Counter
  readonly missed: Counter
}

export const mqttCounters = (numbers: Numbers): MqttCounters => ({
  expired: numbers.counter(EXPIRED),
  tooLarge: numbers.counter(TOO_LARGE),
  missed: numbers.counter(MISSED),
})
