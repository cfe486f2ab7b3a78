// A delayed message that is due: it goes to the topic and queue that it was sent to, as the topic
// is by then.
import type { Logger } from '../../log.ts'
import type { RecordCopy, RecordView } from '../../model/record.ts'
import type { MessageStore } from '../../store/store.ts'
import type { TopicTable } from '../definitions/topics.ts'
import { unparked } from './delay.ts'
import { type DueHandler, type DueOutcome, NOTHING } from './due-timer.ts'

export function delayedMessages(store: MessageStore, topics: TopicTable, log: Logger): DueHandler {
  return (record) => {
    const copy = unparked(record)
    if (copy === undefined) {
      const { position } = record
      const text = `the delayed message at log position ${position} is damaged and cannot be delivered`
      log.error({ evt: 'delays.damaged', position }, text)
      return NOTHING
    }
    return destined(copy, record)
  }

  /** Nothing when there is no longer any place to deliver it to. */
  function destined(copy: RecordCopy, record: RecordView): DueOutcome {
    const topic = topics.find(copy.topic)
    if (topic === undefined || store.isDropped(record)) {
      log.info(
        { evt: 'delays.dropped', topic: copy.topic },
        'a delayed message is dropped: its topic was deleted while it waited',
      )
      return NOTHING
    }
    const { writeQueues } = topic.definition
    return { message: { ...copy, queueId: copy.queueId % writeQueues } }
  }
}
