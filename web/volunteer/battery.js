// Whether the device runs on battery, where the browser tells.

/** Calls `onChange(onBattery)` now and whenever that changes; resolves to false where the browser does not tell. */
export async function watchBattery(onChange) {
  if (!("getBattery" in navigator)) return false;
  try {
    const battery = await navigator.getBattery();
    const tell = () => onChange(!battery.charging);
    // A device without a battery always charges a full one.
    battery.addEventListener("chargingchange", tell);
    tell();
    return true;
  } catch {
    return false;
  }
}
