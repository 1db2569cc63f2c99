import { ensureClusterParts } from '/work/wt/tests/platform/cluster/parts.ts'
import { createProgress } from '/work/wt/tests/platform/progress.ts'
const p = createProgress()
await ensureClusterParts(['traefik'], p)
p.close()
