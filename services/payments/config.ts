import { parseEnv, serviceEnv } from '#lib/config.ts'

/** Reads this process's environment. Throws, naming every variable that is wrong. */
export const readConfig = () => parseEnv(serviceEnv)
