// PUSH_REPLY_MESSAGE_TO_CLIENT (326): the reply to a request, pushed to the client that asked. The
// replier sends it with the fields of a SEND (send.ts).
import { layout, long, text } from '../layout.ts'
import { MESSAGE } from './send.ts'

export const PUSH_REPLY = layout({
  ...MESSAGE,
  /** 'host:port', as the next one. */
  bornHost: text,
  storeHost: text,
  storeTimestamp: long,
})
