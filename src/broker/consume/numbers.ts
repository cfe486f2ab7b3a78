// What the broker counts of messages on their way to consumers.
import type { Declared } from '../../numbers/declared.ts'

export const READ: Declared<'counter'> = {
  kind: 'counter',
  name: 'trivet_messages_read_total',
  help:
    'Messages pulled or received: each of several groups counts, and what several MQTT sessions ' +
    'are sent from one read counts once.',
  unit: 'messages',
}
export const EXPIRED: Declared<'counter'> = {
  kind: 'counter',
  name: 'trivet_messages_expired_total',
  help:
    'Messages that had expired when they were to be read: stepped over, or dead-lettered by groups ' +
    'that receive per message. Each reader counts.',
  unit: 'messages',
}
export const READS_FOUND: Declared<'counter'> = {
  kind: 'counter',
  name: 'trivet_reads_found_total',
  help: 'Pulls and receives that were answered with messages.',
  unit: 'requests',
}
export const READS_EMPTY: Declared<'counter'> = {
  kind: 'counter',
  name: 'trivet_reads_empty_total',
  help: 'Pulls that found nothing to answer with, before they were held or answered empty.',
  unit: 'requests',
}
