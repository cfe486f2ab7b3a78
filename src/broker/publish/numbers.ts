// What the broker counts of messages on their way into the log.
import { counter } from '../../numbers/declared.ts'

export const STORED = counter('trivet_messages_stored_total', 'messages', {
  help: 'Messages of producers that were stored, of all protocols.',
})
export const RETRIES = counter('trivet_retries_total', 'messages', {
  help: 'Failed messages that went to the retry topic of their group.',
})
/** By RocketMQ's name. */
export const DEAD_LETTERS = counter('rocketmq_send_to_dlq_messages_total', 'messages', {
  help: 'Messages that went to the dead letters of their group.',
})
