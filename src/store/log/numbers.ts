// What the commit log counts.
import { histogram, SECONDS_BOUNDS } from '../../numbers/declared.ts'

export const SYNC_SECONDS = histogram('trivet_store_sync_seconds', 'seconds', {
  help: 'How long the disk took to make one group of frames durable.',
  bounds: SECONDS_BOUNDS,
})
