// Response codes other than success, as the SDK's errors.
import { BrokerError, type ErrorCode } from '../../errors.ts'
import { RESPONSE } from '../../remoting/codes.ts'
import type { Command } from '../../remoting/command.ts'

interface Meaning {
  readonly code: ErrorCode
  readonly retryable?: boolean
  /** The next thing to do, when the answer alone does not say it. */
  readonly fix?: string
}

const READ_ONLY: Meaning = { code: 'READ_ONLY' }
const MEANINGS: ReadonlyMap<number, Meaning> = new Map<number, Meaning>([
  [RESPONSE.systemBusy, { code: 'BUSY' }],
  [RESPONSE.requestCodeNotSupported, { code: 'NOT_SUPPORTED' }],
  [RESPONSE.messageIllegal, { code: 'MESSAGE_INVALID' }],
  [RESPONSE.serviceNotAvailable, READ_ONLY],
  [
    RESPONSE.noPermission,
    {
      code: 'PERMISSION_DENIED',
      fix: 'check the user, its rights and the permissions of the topic',
    },
  ],
  [
    RESPONSE.topicNotExist,
    { code: 'TOPIC_NOT_FOUND', fix: 'create it with: trivet topic create NAME' },
  ],
  [RESPONSE.topicExists, { code: 'TOPIC_EXISTS' }],
  [RESPONSE.queryNotFound, { code: 'MESSAGE_NOT_FOUND' }],
  [RESPONSE.subscriptionParseFailed, { code: 'FILTER_INVALID' }],
  [RESPONSE.subscriptionNotExist, { code: 'SUBSCRIPTION_CONFLICT', retryable: true }],
  [RESPONSE.subscriptionNotLatest, { code: 'SUBSCRIPTION_CONFLICT', retryable: true }],
  [RESPONSE.groupNotExist, { code: 'GROUP_NOT_FOUND' }],
  [RESPONSE.invalidParameter, { code: 'ARGUMENT_INVALID' }],
  [RESPONSE.consumerNotOnline, { code: 'CLIENT_NOT_FOUND' }],
  [RESPONSE.flowControl, { code: 'QUOTA_EXCEEDED' }],
  // Only a recall is answered so, and the client looked at its handle.
  [RESPONSE.illegalOperation, { code: 'MESSAGE_NOT_FOUND' }],
  [RESPONSE.goAway, { code: 'UNREACHABLE' }],
])

/** Another broker may take the message: there is no fault of the topic or the user. */
const IS_READ_ONLY = /^the broker\[.*\] sending message is forbidden/

/** `asked` names the request, the resource and the address, for the message. */
export function responseError(response: Command, asked: string): BrokerError {
  const meaning = meaningOf(response)
  const said = response.remark ?? `response code ${response.code} without a text`
  const fix = meaning.fix === undefined ? '' : ` (${meaning.fix})`
  const options = meaning.retryable === undefined ? {} : { retryable: meaning.retryable }
  return new BrokerError(meaning.code, `${asked} was refused: ${firstLine(said)}${fix}`, options)
}

function meaningOf({ code, remark }: Command): Meaning {
  const isReadOnly = code === RESPONSE.noPermission && IS_READ_ONLY.test(remark ?? '')
  return (isReadOnly ? READ_ONLY : MEANINGS.get(code)) ?? { code: 'INTERNAL' }
}

/** A Java broker appends stack traces and links. */
const firstLine = (text: string): string => text.split('\n', 1)[0]!.slice(0, 500)
