// What the broker counts of messages on their way into the log.
import type { Declared } from '../../numbers/declared.ts'

export const STORED: Declared<'counter'> = {
  kind: 'counter',
  name: 'trivet_messages_stored_total',
  help: 'Messages of producers that were stored, of all protocols.',
  unit: 'messages',
}
export const RETRIES: Declared<'counter'> = {
  kind: 'counter',
  name: 'trivet_retries_total',
  help: 'Failed messages that went to the retry topic of their group.',
  unit: 'messages',
}
/** By RocketMQ's name. */
export const DEAD_LETTERS: Declared<'counter'> = {
  kind: 'counter',
  name: 'rocketmq_send_to_dlq_messages_total',
  help: 'Messages that went to the dead letters of their group.',
  unit: 'messages',
}
