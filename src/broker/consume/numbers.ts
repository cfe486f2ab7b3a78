// What the broker counts of messages on their way to consumers.
import { counter } from '../../numbers/declared.ts'

export const READ = counter('trivet_messages_read_total', 'messages', {
  help:
    'Messages pulled or received: each of several groups counts, and what several MQTT sessions ' +
    'are sent from one read counts once.',
})
export const EXPIRED = counter('trivet_messages_expired_total', 'messages', {
  help:
    'Messages that had expired when they were to be read: stepped over, or dead-lettered by groups ' +
    'that receive per message. Each reader counts.',
})
export const READS_FOUND = counter('trivet_reads_found_total', 'requests', {
  help: 'Pulls and receives that were answered with messages.',
})
export const READS_EMPTY = counter('trivet_reads_empty_total', 'requests', {
  help: 'Pulls that found nothing to answer with, before they were held or answered empty.',
})
