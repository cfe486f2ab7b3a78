// Messages by key and by id.
import { logPosition } from '../../../model/positions.ts'
import { RecordView } from '../../../model/record.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { readFields, writeFields } from '../../../remoting/layout.ts'
import {
  QUERY_MESSAGE,
  QUERY_MESSAGE_RESPONSE,
  UNIQUE_KEY_QUERY,
  VIEW_MESSAGE,
} from '../../../remoting/requests/lookup.ts'
import { topicResource } from '../address.ts'
import { type Answer, authorize, type Call, notFound, type RequestTable } from '../call.ts'

/** As Apache's limit for one answer (maxMsgsNumBatch). */
const MESSAGES_MAX = 64
/** Of one answer; one message comes whatever its size. Clients take frames of 16 MiB at most. */
const ANSWER_BYTES_MAX = 8 * 1024 * 1024
/** A client-made id has few copies: the message and its retries. */
const UNIQUE_MESSAGES_MAX = 32

export const lookupRequests: RequestTable = new Map([
  [REQUEST.queryMessage, queryMessage],
  [REQUEST.viewMessageById, viewMessage],
])

async function queryMessage(call: Call): Promise<Answer> {
  const query = readFields(QUERY_MESSAGE, call.fields)
  authorize(call, 'read', topicResource(query.topic))
  const isUnique = call.fields.get(UNIQUE_KEY_QUERY) === 'true'
  const { broker, clock, ownProperties } = call.context
  const wanted = {
    max: isUnique ? UNIQUE_MESSAGES_MAX : Math.min(Math.max(1, query.maxNum), MESSAGES_MAX),
    maxBytes: ANSWER_BYTES_MAX,
    fromMs: Math.max(0, query.beginTimestamp),
    toMs: query.endTimestamp,
  }
  // How large messages are shows only when they are read, so each lookup takes the most it may
  // need.
  const records = await call.reads.within(ANSWER_BYTES_MAX, () =>
    broker.lookup.byKey(query.topic, query.key, wanted),
  )
  if (records.length === 0) {
    return notFound('can not find message, maybe time range not correct')
  }
  const { logEnd } = await broker.status()
  const fields = writeFields(QUERY_MESSAGE_RESPONSE, {
    indexLastUpdateTimestamp: clock.now(),
    indexLastUpdatePhyoffset: logEnd,
  })
  return { fields, body: ownProperties.shown(Buffer.concat(records)) }
}

async function viewMessage(call: Call): Promise<Answer> {
  const { offset } = readFields(VIEW_MESSAGE, call.fields)
  const { identity, lookup } = call.context.broker
  const record =
    offset < 0
      ? undefined
      : await call.reads.within(ANSWER_BYTES_MAX, () =>
          lookup.byPosition(identity.brokerName, logPosition(offset)),
        )
  if (record === undefined) {
    const remark = `can not find message by the offset, ${offset}`
    return { code: RESPONSE.systemError, remark }
  }
  authorize(call, 'read', topicResource(new RecordView(record).topic))
  // As long as a message may be: where that was raised, so are the clients' frames.
  return { body: call.context.ownProperties.shown(record) }
}
