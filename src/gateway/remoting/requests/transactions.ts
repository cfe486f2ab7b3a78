// END_TRANSACTION: what a producer says of its half message, at once or when it is asked. The
// question itself, CHECK_TRANSACTION_STATE, goes out on the producer's own connection.
import { BrokerError } from '../../../errors.ts'
import { offsetMessageId } from '../../../model/message-id.ts'
import { HALF_TOPIC } from '../../../model/names.ts'
import { logPosition, queueOffset } from '../../../model/positions.ts'
import { RecordView } from '../../../model/record.ts'
import type { HalfName, TransactionCheck, TransactionEnd } from '../../../model/transaction.ts'
import type { Broker } from '../../../port/broker.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import type { ScannedEnd } from '../../../remoting/fast/end-scan.ts'
import { readFields, writeFields } from '../../../remoting/layout.ts'
import {
  CHECK_TRANSACTION,
  END_TRANSACTION,
  TRANSACTION_OUTCOME,
} from '../../../remoting/requests/transactions.ts'
import { topicResource } from '../address.ts'
import {
  type Answer,
  authorize,
  type Call,
  DONE,
  NO_ANSWER,
  type Push,
  type RequestTable,
} from '../call.ts'

export const transactionRequests: RequestTable = new Map([[REQUEST.endTransaction, endTransaction]])

const OUTCOMES: ReadonlyMap<number, TransactionEnd['outcome']> = new Map([
  [TRANSACTION_OUTCOME.commit, 'commit'],
  [TRANSACTION_OUTCOME.rollback, 'rollback'],
])

async function endTransaction(call: Call): Promise<Answer> {
  const fields = readFields(END_TRANSACTION, call.fields)
  const { broker } = call.context
  const end = endOf(broker, fields)
  if (end === undefined) {
    // The producer does not know either: it is asked again.
    if (fields.commitOrRollback === TRANSACTION_OUTCOME.unknown) return NO_ANSWER
    const remark = `commitOrRollback is ${fields.commitOrRollback}; 8 commits, 12 rolls back`
    return { code: RESPONSE.systemError, remark }
  }
  try {
    if (!call.principal.admin) await mayEnd(call, end.half)
    await broker.transactions.end(end)
    return DONE
  } catch (thrown) {
    return endRefused(thrown)
  }
}

/** undefined: neither a commit nor a rollback. */
export function endOf({ identity }: Broker, fields: ScannedEnd): TransactionEnd | undefined {
  const outcome = OUTCOMES.get(fields.commitOrRollback)
  if (outcome === undefined) return undefined
  const half: HalfName = {
    brokerName: identity.brokerName,
    position: logPosition(fields.commitLogOffset),
    queueOffset: queueOffset(fields.tranStateTableOffset),
  }
  return { half, group: fields.producerGroup, outcome }
}

/** As Apache's broker answers what it does not find as it was named; any other is thrown on. */
export async function endRefused(thrown: unknown): Promise<Answer> {
  const { code, message } = BrokerError.from(thrown)
  if (code !== 'MESSAGE_NOT_FOUND' && code !== 'ARGUMENT_INVALID') throw thrown
  return { code: RESPONSE.systemError, remark: message }
}

/** Ending a half message takes what sending it took. @throws PERMISSION_DENIED */
async function mayEnd(call: Call, half: HalfName): Promise<void> {
  const topic = await call.context.broker.transactions.topic(half)
  if (topic !== undefined) authorize(call, 'publish', topicResource(topic))
}

/** What an END_TRANSACTION says again to answer it. */
export function checkPush({ half, record, transactionId }: TransactionCheck): Push {
  const { position, brokerName } = half
  const fields = writeFields(CHECK_TRANSACTION, {
    topic: HALF_TOPIC,
    tranStateTableOffset: half.queueOffset,
    commitLogOffset: position,
    msgId: transactionId,
    transactionId,
    offsetMsgId: offsetMessageId(new RecordView(record).storeHost, position),
    bname: brokerName,
  })
  return { code: REQUEST.checkTransactionState, fields, body: record }
}
