// What the commit log counts.
import { type Declared, SECONDS_BOUNDS } from '../../numbers/declared.ts'

export const SYNC_SECONDS: Declared<'histogram'> = {
  kind: 'histogram',
  name: 'trivet_store_sync_seconds',
  help: 'How long the disk took to make one group of frames durable.',
  unit: 'seconds',
  bounds: SECONDS_BOUNDS,
}
