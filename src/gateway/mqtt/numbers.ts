// What the MQTT front-end counts, beside its messages.
import type { Declared } from '../../numbers/declared.ts'
import type { Counter, Numbers } from '../../numbers/numbers.ts'

const EXPIRED: Declared<'counter'> = {
  kind: 'counter',
  name: 'trivet_mqtt_expired_total',
  help: 'Messages whose expiry was over before a client could be sent them.',
  unit: 'messages',
}
const TOO_LARGE: Declared<'counter'> = {
  kind: 'counter',
  name: 'trivet_mqtt_too_large_total',
  help: "Messages not sent because they are larger than the client's maximum packet size.",
  unit: 'messages',
}
const MISSED: Declared<'counter'> = {
  kind: 'counter',
  name: 'trivet_mqtt_missed_total',
  help: 'Messages that retention took before a session had read them.',
  unit: 'messages',
}

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
