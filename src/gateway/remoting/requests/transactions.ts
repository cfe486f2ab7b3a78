// END_TRANSACTION. This broker accepts no half messages (a prepared SEND is refused), so there is
// none to commit; a peer that asks is told so.
import { BrokerError } from '../../../errors.ts'
import { REQUEST } from '../../../remoting/codes.ts'
import { readFields } from '../../../remoting/layout.ts'
import { END_TRANSACTION } from '../../../remoting/requests/transactions.ts'
import type { Call, RequestTable } from '../call.ts'

export const transactionRequests: RequestTable = new Map([[REQUEST.endTransaction, endTransaction]])

function endTransaction(call: Call): never {
  const { msgId, producerGroup } = readFields(END_TRANSACTION, call.fields)
  throw new BrokerError(
    'NOT_SUPPORTED',
    `transactional messages are not served by this broker: no half message '${msgId.slice(0, 64)}' ` +
      `of the group '${producerGroup.slice(0, 64)}' exists`,
  )
}
