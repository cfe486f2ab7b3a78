// QUERY_MESSAGE (12) by key and VIEW_MESSAGE_BY_ID (33). Both answer with back-to-back records.
import { int, layout, long, optional, text } from '../layout.ts'

export const QUERY_MESSAGE = layout({
  topic: text,
  key: text,
  maxNum: int,
  beginTimestamp: long,
  endTimestamp: long,
})

/** Extra field of QUERY_MESSAGE, "true": the key is a client-made message id. */
export const UNIQUE_KEY_QUERY = '_UNIQUE_KEY_QUERY'

export const QUERY_MESSAGE_RESPONSE = layout({
  indexLastUpdateTimestamp: long,
  indexLastUpdatePhyoffset: long,
})

export const VIEW_MESSAGE = layout({ offset: long, topic: optional(text) })
