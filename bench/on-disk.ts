// A server whose data are on the disk, as those of the brokers beside it are: a test's are in
// memory where there is room, where a sync costs nothing.
import { type SpawnedServer, type SpawnOptions, spawnServer } from '../test/support/server.ts'
import { diskDir, type Teardown } from '../test/support/temp-dir.ts'

export const spawnOnDisk = async (
  later: Teardown,
  options: SpawnOptions,
): Promise<SpawnedServer> => {
  const config = { ...options.config, dataDir: await diskDir(later) }
  return spawnServer(later, { ...options, config })
}
