// WIPE_WRITE_PERM_OF_BROKER (205) and ADD_WRITE_PERM_OF_BROKER (327): take a broker out of the
// routes that producers see, and put it back.
import { int, layout, text } from '../layout.ts'

export const BROKER_NAME = layout({ brokerName: text })
export const WIPED = layout({ wipeTopicCount: int })
export const ADDED = layout({ addTopicCount: int })
